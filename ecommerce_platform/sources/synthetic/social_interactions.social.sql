select
    as_text(id) as interaction_id,
    as_timestamp_format(posted, '%m/%d/%Y %I:%M %p') as occurred_at,
    as_text(network) as platform,
    as_text(kind) as interaction_type,
    as_text(sku) as product_id,
    as_double(tone) as sentiment_score
from bronze.synthetic__social
