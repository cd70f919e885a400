select
    as_text(review_no) as review_id,
    as_text(order_no) as order_id,
    as_integer(stars) as score,
    as_text(headline) as title,
    as_text(text) as message,
    as_timestamp(written) as created_at
from bronze.synthetic__reviews
