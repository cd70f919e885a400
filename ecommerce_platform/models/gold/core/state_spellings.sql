-- Plain is what is left of a text without regard to case, dots and blanks around it.
with labels as (

    select
        code,
        label,
        short_label,
        group_label,
        regexp_replace(trim(lower(replace(code, '.', ''))), '[ ]+', ' ', 'g') as plain_code,
        regexp_replace(trim(lower(replace(label, '.', ''))), '[ ]+', ' ', 'g') as plain_label,
        regexp_replace(trim(lower(replace(short_label, '.', ''))), '[ ]+', ' ', 'g') as plain_short_label
    from silver.labels
    where domain = 'state'

),

customers as (

    select
        state,
        count(*) as customers
    from silver.customers
    where state is not null
    group by state

),

carried as (

    select state as spelling
    from customers
    union
    select state as spelling
    from silver.sellers
    where state is not null
    union
    select state as spelling
    from silver.postal_codes
    where state is not null

),

-- Where the source assigns regions to postal codes only: that of most of the state's, of equals the first by name.
regions as (

    select
        state,
        region
    from silver.postal_codes
    where state is not null and region is not null
    group by state, region
    qualify row_number() over (partition by state order by count(*) desc, region) = 1

),

spellings as (

    select
        spelling,
        regexp_replace(trim(lower(replace(spelling, '.', ''))), '[ ]+', ' ', 'g') as plain
    from carried

),

-- All that a state is called: the spellings that the source lists, its name and its abbreviation.
names as (

    select
        plain_code as plain,
        label,
        coalesce(short_label, code) as short_label,
        group_label,
        plain_label
    from labels
    union all
    select
        plain_label as plain,
        label,
        coalesce(short_label, code) as short_label,
        group_label,
        plain_label
    from labels
    union all
    select
        plain_short_label as plain,
        label,
        short_label,
        group_label,
        plain_label
    from labels

),

-- What may mean two states means none.
meanings as (

    select
        plain,
        min(label) as label,
        min(short_label) as short_label,
        min(group_label) as group_label
    from names
    where plain is not null
    group by plain
    having count(distinct plain_label) = 1

),

state_names as (

    select distinct plain_label
    from labels

)

select
    spellings.spelling,

    coalesce(labels.label, meanings.label) as state,
    case
        when labels.code is not null then coalesce(labels.short_label, labels.code)
        else meanings.short_label
    end as state_code,
    coalesce(
        case when labels.code is not null then labels.group_label else meanings.group_label end, regions.region
    ) as region,
    case
        when labels.code is not null then 'listed'
        when meanings.plain is not null then 'alike'
        else 'unknown'
    end as rule,

    coalesce(labels.plain_label <> state_names.plain_label, false) as names_another_state,
    coalesce(customers.customers, 0) as customers
from spellings
left join labels on spellings.spelling = labels.code
left join meanings on spellings.plain = meanings.plain
left join state_names on spellings.plain = state_names.plain_label
left join customers on spellings.spelling = customers.state
left join regions on spellings.spelling = regions.state
