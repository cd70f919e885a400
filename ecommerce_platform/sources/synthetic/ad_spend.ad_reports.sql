select
    as_date_format(Day, '%m/%d/%Y') as Spend_date,
    as_text("Campaign ID") as Campaign_id,
    as_bigint("Impr.") as Impressions,
    as_bigint(Clicks) as Clicks,
    as_decimal(Cost) as Cost_amount
from Bronze.Synthetic__ad_reports
