select
    'nl-' || as_text(SUBSCRIBERID) as CUSTOMER_ID,
    as_timestamp_format(OPTINAT, '%m/%d/%Y %I:%M %p') as REGISTERED_AT,
    as_text(DISPLAYNAME) as FULL_NAME,
    as_text(EMAILADDRESS) as EMAIL,
    as_text(MOBILE) as PHONE,
    as_date_format(BIRTHDAY, '%m/%d/%Y') as BIRTH_DATE,
    as_text(ZIPCODE) as POSTAL_CODE,
    as_text(CITY) as CITY
from BRONZE.SYNTHETIC__NEWSLETTER_SUBSCRIBERS
