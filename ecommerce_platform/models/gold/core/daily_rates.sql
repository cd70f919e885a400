with rates as (

    select
        currency,
        rate_date,
        rate,
        lead(rate_date) over (partition by currency order by rate_date) as next_date
    from silver.exchange_rates

),

ages as (

    select age_days
    from (values (0), (1), (2), (3), (4), (5), (6), (7)) as a (age_days)

)

select
    rates.currency,
    cast(rates.rate_date + ages.age_days as date) as calendar_date,
    rates.rate_date,
    rates.rate as exchange_rate
from rates
cross join ages
where rates.next_date is null or rates.rate_date + ages.age_days < rates.next_date
