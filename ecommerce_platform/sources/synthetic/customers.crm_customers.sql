-- A spreadsheet has taken the zeros in front of postal codes for superfluous. What the CRM calls its groups of customers
-- is called in English as the web shop does; a new group passes through as it is.
select
    'crm-' || as_text(Kundennummer) as Customer_id,
    as_timestamp_format(Angelegt, '%d.%m.%Y %H:%M') as Registered_at,
    as_text(Name) as Full_name,
    as_text("E-Mail") as Email,
    as_text(Telefon) as Phone,
    as_date_format(Geburtsdatum, '%d.%m.%Y') as Birth_date,
    case as_text(Kundengruppe)
        when 'Privat' then 'Consumer'
        when 'Gewerbe' then 'Small business'
        when 'Großkunde' then 'Corporate'
        else as_text(Kundengruppe)
    end as Customer_segment,
    lpad(as_text(Plz), 5, '0') as Postal_code,
    as_text(Ort) as City,
    as_text(Bundesland) as State,
    'DE' as Country
from Bronze.Synthetic__crm_customers
