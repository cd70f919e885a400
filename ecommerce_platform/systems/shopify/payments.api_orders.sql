-- What an order was paid with: its total but for what is outstanding, and for what was taken off before it was paid, so
-- that it is neither there nor paid back now. A refund is no payment less; it stands in returns.
select
    {prefix}as_text("name") as order_id,
    1 as payment_number,
    coalesce(as_text("payment_gateway_names"->>'$[0]'), 'unknown') as method,
    least(
        as_decimal("total_price"),
        as_decimal("current_total_price")
        + as_decimal_sum("refunds", '$[*].transactions[*]', '$.amount', '{"kind": "refund", "status": "success"}')
    ) - coalesce(as_decimal("total_outstanding"), 0) as amount,
    shopify_api_ordered_at as paid_at
from bronze.api_orders
where as_text("financial_status") in ('paid', 'partially_paid', 'partially_refunded', 'refunded')
