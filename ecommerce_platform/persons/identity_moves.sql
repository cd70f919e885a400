-- Whose person is another than they last said, and why. Reads `changes` and `identities`: silver.identity_changes and
-- silver.customer_identities, of the customers that may have moved. Whoever is not among the moved has the person that they had.
with was as (

    select
        customer_id,
        arg_max(struct_pack(person_id := new_person_id), version).person_id as person_id
    from changes
    group by customer_id

),

moved as (

    select
        coalesce(was.customer_id, identities.customer_id) as customer_id,
        was.person_id as old_person_id,
        identities.person_id as new_person_id,
        identities.rule
    from was
    full outer join identities on was.customer_id = identities.customer_id
    where was.person_id is distinct from identities.person_id

),

stayed as (

    select distinct person_id
    from silver.customer_identities
    where
        (person_id in (select old_person_id from moved) or person_id in (select new_person_id from moved))
        and customer_id not in (select customer_id from moved)

),

leavers as (

    select
        old_person_id,
        count(distinct new_person_id) as persons
    from moved
    group by old_person_id

),

comers as (

    select
        new_person_id,
        count(distinct coalesce(old_person_id, customer_id || chr(0))) as persons
    from moved
    group by new_person_id

)

select
    moved.customer_id,
    moved.old_person_id,
    moved.new_person_id,
    case
        when moved.old_person_id is null then 'new'
        when moved.new_person_id is null then 'removed'
        -- Somebody of the old person is somebody else's now; or somebody came to the new one.
        when moved.old_person_id in (select person_id from stayed) or leavers.persons > 1 then 'split'
        when moved.new_person_id in (select person_id from stayed) or comers.persons > 1 then 'merge'
        else 'renamed'
    end as reason,
    moved.rule
from moved
left join leavers on moved.old_person_id = leavers.old_person_id
left join comers on moved.new_person_id = comers.new_person_id
