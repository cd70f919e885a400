-- A spreadsheet has taken the zeros in front of postal codes for superfluous. The CRM's groups of customers get the web
-- shop's English names; a group that is new passes through as it is.
select
    'crm-' || as_text(kundennummer) as customer_id,
    as_timestamp_format(angelegt, '%d.%m.%Y %H:%M') as registered_at,
    as_text(name) as full_name,
    as_text("E-Mail") as email,
    as_text(telefon) as phone,
    as_date_format(geburtsdatum, '%d.%m.%Y') as birth_date,
    case as_text(kundengruppe)
        when 'Privat' then 'Consumer'
        when 'Gewerbe' then 'Small business'
        when 'Großkunde' then 'Corporate'
        else as_text(kundengruppe)
    end as customer_segment,
    lpad(as_text(plz), 5, '0') as postal_code,
    as_text(ort) as city,
    as_text(bundesland) as state,
    'DE' as country
from bronze.synthetic__crm_customers
