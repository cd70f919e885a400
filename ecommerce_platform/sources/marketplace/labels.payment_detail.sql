select
    'payment_method' as domain,
    as_text(id) as code,
    as_text(payment_method) as label
from bronze.marketplace__payment_detail
