-- Web shop, CRM and newsletter number their customers independently; prefixes keep the numbers apart.
select
    'web-' || as_text(customer_no) as customer_id,
    as_text(account) as person_key,
    as_timestamp(registered) as registered_at,
    as_text(name) as full_name,
    as_text(mail) as email,
    as_text(phone) as phone,
    as_date(born) as birth_date,
    as_text(age_band) as age_group,
    as_text(segment) as customer_segment,
    as_text(zip) as postal_code,
    as_text(town) as city,
    as_text(state) as state,
    as_text(area) as region,
    as_text(country) as country
from bronze.synthetic__web_customers
