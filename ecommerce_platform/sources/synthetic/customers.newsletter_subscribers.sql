select
    'nl-' || as_text(subscriberid) as customer_id,
    as_timestamp_format(optinat, '%m/%d/%Y %I:%M %p') as registered_at,
    as_text(displayname) as full_name,
    as_text(emailaddress) as email,
    as_text(mobile) as phone,
    as_date_format(birthday, '%m/%d/%Y') as birth_date,
    as_text(zipcode) as postal_code,
    as_text(city) as city
from bronze.synthetic__newsletter_subscribers
