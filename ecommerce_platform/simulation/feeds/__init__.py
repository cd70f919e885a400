"""The raw tables that the shop's systems export, each in its own format; how files are written is in `drops`."""

from ecommerce_platform.simulation.drops import Feed
from ecommerce_platform.simulation.feeds import customers, goods, marketing, sales
from ecommerce_platform.simulation.simulate import Shop


def make_feeds(shop: Shop, dirty_share: float) -> list[Feed]:
    """All raw tables of the shop, with their faults chosen."""
    faulty = (
        goods.postal_codes,
        goods.products,
        goods.inventory,
        customers.web_customers,
        customers.crm_customers,
        customers.newsletter_subscribers,
        sales.orders,
        sales.order_items,
        sales.payments,
        sales.shipments,
        sales.returns,
        sales.reviews,
        marketing.campaigns,
        marketing.ad_spend,
        marketing.web_events,
        marketing.experiments,
        marketing.social,
        marketing.economy,
    )
    return [goods.labels(shop), *(make(shop, dirty_share) for make in faulty)]
