-- First and last counted order, and whether anything is known of what they cost.
select
    min(ordered_at) as first_at,
    max(ordered_at) as last_at,
    coalesce(sum(cost_known_lines), 0) > 0 as has_costs
from gold.fct_orders
where is_counted
