-- A series that is new passes through under its German name.
select
    case as_text(Reihe)
        when 'Konsumklima' then 'consumer_confidence'
        when 'Inflationsrate' then 'inflation_rate'
        when 'Arbeitslosenquote' then 'unemployment_rate'
        else as_text(Reihe)
    end as Indicator,
    as_date_format(Monat, '%m/%Y') as Period_date,
    as_decimal_comma(Wert) as Value
from Bronze.Synthetic__economy
