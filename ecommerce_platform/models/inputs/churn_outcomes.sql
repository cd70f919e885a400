-- Who bought in the two windows up to each cut-off, and whether they stayed away for a window after the gap.
with cut_offs as (

    select unnest($as_of_days) as as_of_date

)

select
    cut_offs.as_of_date,
    days.person_id,
    max(days.order_date) filter (where days.order_date <= cut_offs.as_of_date) as newest_order_date,
    count(*) filter (where days.order_date <= cut_offs.as_of_date) as buying_days,
    min(case when days.order_date > cut_offs.as_of_date + $gap_days then 0 else 1 end) as is_lost
from gold.fct_customer_days as days
inner join cut_offs on days.order_date <= cut_offs.as_of_date + $gap_days + $window_days
group by cut_offs.as_of_date, days.person_id
having
    max(days.order_date) filter (where days.order_date <= cut_offs.as_of_date)
    > cut_offs.as_of_date - 2 * $window_days
