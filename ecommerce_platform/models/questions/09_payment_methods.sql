-- Which payment methods are used most?
--
-- The three with most orders of each year; an order's method is that of its largest payment.
select
    year,
    payment_method,
    orders,
    orders_share,
    revenue_share,
    aov
from gold.kpi_payment_methods_yearly
where rank_by_orders <= 3
order by year, rank_by_orders, payment_method
