-- A series that is new passes through under its German name.
select
    case as_text(reihe)
        when 'Konsumklima' then 'consumer_confidence'
        when 'Inflationsrate' then 'inflation_rate'
        when 'Arbeitslosenquote' then 'unemployment_rate'
        else as_text(reihe)
    end as indicator,
    as_date_format(monat, '%m/%Y') as period_date,
    as_decimal_comma(wert) as value
from bronze.synthetic__economy
