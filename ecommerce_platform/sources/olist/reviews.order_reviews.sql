select
    as_text(review_id) as review_id,
    as_text(order_id) as order_id,
    as_integer(review_score) as score,
    as_text(review_comment_title) as title,
    as_text(review_comment_message) as message,
    as_timestamp(review_creation_date) as created_at,
    as_timestamp(review_answer_timestamp) as answered_at
from bronze.olist__order_reviews
