select
    as_date_format(day, '%m/%d/%Y') as spend_date,
    as_text("Campaign ID") as campaign_id,
    as_bigint("Impr.") as impressions,
    as_bigint(clicks) as clicks,
    as_decimal(cost) as cost_amount
from bronze.synthetic__ad_reports
