with history as (

    select
        model,
        table_name,
        column_name,
        scored_on,
        model_version,
        score
    from ml.score_history

),

scorings as (

    select
        model,
        table_name,
        column_name,
        scored_on,
        model_version,
        count(*) as rows_compared
    from history
    group by model, table_name, column_name, scored_on, model_version

),

ordered as (

    select
        *,
        lag(scored_on) over (
            partition by table_name, column_name order by scored_on, model_version
        ) as day_before,
        lag(model_version) over (
            partition by table_name, column_name order by scored_on, model_version
        ) as version_before,
        min(scored_on) over (partition by table_name, column_name, model_version) as first_day
    from scorings

),

pairs as (

    select
        table_name,
        column_name,
        scored_on,
        model_version,
        'scoring before' as compared_with,
        day_before as reference_day,
        version_before as reference_version
    from ordered
    where day_before is not null
    union all
    select
        table_name,
        column_name,
        scored_on,
        model_version,
        'first of the version' as compared_with,
        first_day as reference_day,
        model_version as reference_version
    from ordered
    where scored_on > first_day

),

tenths as (

    select
        table_name,
        column_name,
        scored_on,
        model_version,
        score,
        ntile(10) over (
            partition by table_name, column_name, scored_on, model_version order by score
        ) as tenth
    from history

),

-- Equal scores share a bin: a group's number is one of few values.
edges as (

    select distinct
        table_name,
        column_name,
        scored_on,
        model_version,
        max(score) over (
            partition by table_name, column_name, scored_on, model_version, tenth
        ) as edge
    from tenths

),

upper_edges as (

    select
        *,
        max(edge) over (partition by table_name, column_name, scored_on, model_version) as last_edge
    from edges

),

-- What lies above the last edge of the reference counts to its last bin.
binned as (

    select
        pairs.table_name,
        pairs.column_name,
        pairs.scored_on,
        pairs.model_version,
        pairs.compared_with,
        pairs.reference_day,
        pairs.reference_version,
        upper_edges.edge,
        upper_edges.last_edge,
        coalesce(
            lag(upper_edges.edge) over (
                partition by
                    pairs.table_name, pairs.column_name, pairs.scored_on, pairs.model_version, pairs.compared_with
                order by upper_edges.edge
            ),
            -1e308
        ) as lower_edge
    from pairs
    inner join upper_edges
        on
            pairs.table_name = upper_edges.table_name
            and pairs.column_name = upper_edges.column_name
            and pairs.reference_day = upper_edges.scored_on
            and pairs.reference_version = upper_edges.model_version

),

-- Each bin asks for the scores of two scorings: the one that is looked at, and its reference.
asked as (

    select
        *,
        true as is_now,
        scored_on as day,
        model_version as version
    from binned
    union all
    select
        *,
        false as is_now,
        reference_day as day,
        reference_version as version
    from binned

),

counted as (

    select
        asked.table_name,
        asked.column_name,
        asked.scored_on,
        asked.model_version,
        asked.compared_with,
        asked.reference_day,
        asked.reference_version,
        asked.edge,
        count(history.score) filter (where asked.is_now) as rows_now,
        count(history.score) filter (where not asked.is_now) as rows_then
    from asked
    left join history
        on
            asked.table_name = history.table_name
            and asked.column_name = history.column_name
            and asked.day = history.scored_on
            and asked.version = history.model_version
            and asked.lower_edge < history.score
            and (asked.edge >= history.score or asked.edge = asked.last_edge)
    group by
        asked.table_name,
        asked.column_name,
        asked.scored_on,
        asked.model_version,
        asked.compared_with,
        asked.reference_day,
        asked.reference_version,
        asked.edge

),

shares as (

    select
        *,
        greatest(rows_now, 0.5) / nullif(
            sum(rows_now) over (partition by table_name, column_name, scored_on, model_version, compared_with), 0
        ) as share_now,
        greatest(rows_then, 0.5) / nullif(
            sum(rows_then) over (partition by table_name, column_name, scored_on, model_version, compared_with), 0
        ) as share_then
    from counted

),

indexes as (

    select
        table_name,
        column_name,
        scored_on,
        model_version,
        compared_with,
        reference_day,
        reference_version,
        sum((share_now - share_then) * (ln(share_now) - ln(share_then))) as psi
    from shares
    group by
        table_name, column_name, scored_on, model_version, compared_with, reference_day, reference_version

)

select
    scorings.model,
    indexes.table_name,
    indexes.column_name,
    indexes.scored_on,
    indexes.model_version,
    indexes.compared_with,
    indexes.reference_day,
    indexes.reference_version,
    scorings.rows_compared,
    cast(indexes.psi as double) as psi
from indexes
inner join scorings
    on
        indexes.table_name = scorings.table_name
        and indexes.column_name = scorings.column_name
        and indexes.scored_on = scorings.scored_on
        and indexes.model_version = scorings.model_version
