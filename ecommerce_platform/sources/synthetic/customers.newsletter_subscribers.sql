select
    'nl-' || as_text(subscriber_id) as customer_id,
    as_timestamp_format(opt_in_at, '%m/%d/%Y %I:%M %p') as registered_at,
    as_text(display_name) as full_name,
    as_text(email_address) as email,
    as_text(mobile) as phone,
    as_date_format(birthday, '%m/%d/%Y') as birth_date,
    as_text(zip_code) as postal_code,
    as_text(city) as city
from bronze.synthetic__newsletter_subscribers
