select
    as_text(id) as campaign_id,
    as_text(label) as name,
    as_text(medium) as channel,
    as_date("from") as start_date,
    as_date(until) as end_date,
    as_decimal(budget) as budget_amount
from bronze.synthetic__campaigns
