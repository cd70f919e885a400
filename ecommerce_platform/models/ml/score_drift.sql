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

counted_now as (

    select
        binned.table_name,
        binned.column_name,
        binned.scored_on,
        binned.model_version,
        binned.compared_with,
        binned.edge,
        count(*) as in_bin
    from binned
    inner join history
        on
            binned.table_name = history.table_name
            and binned.column_name = history.column_name
            and binned.scored_on = history.scored_on
            and binned.model_version = history.model_version
    where
        history.score > binned.lower_edge
        and (history.score <= binned.edge or binned.edge = binned.last_edge)
    group by
        binned.table_name,
        binned.column_name,
        binned.scored_on,
        binned.model_version,
        binned.compared_with,
        binned.edge

),

counted_then as (

    select
        binned.table_name,
        binned.column_name,
        binned.scored_on,
        binned.model_version,
        binned.compared_with,
        binned.edge,
        count(*) as in_bin
    from binned
    inner join history
        on
            binned.table_name = history.table_name
            and binned.column_name = history.column_name
            and binned.reference_day = history.scored_on
            and binned.reference_version = history.model_version
    where
        history.score > binned.lower_edge
        and (history.score <= binned.edge or binned.edge = binned.last_edge)
    group by
        binned.table_name,
        binned.column_name,
        binned.scored_on,
        binned.model_version,
        binned.compared_with,
        binned.edge

),

counted as (

    select
        binned.*,
        coalesce(counted_now.in_bin, 0) as rows_now,
        coalesce(counted_then.in_bin, 0) as rows_then
    from binned
    left join counted_now
        on
            binned.table_name = counted_now.table_name
            and binned.column_name = counted_now.column_name
            and binned.scored_on = counted_now.scored_on
            and binned.model_version = counted_now.model_version
            and binned.compared_with = counted_now.compared_with
            and binned.edge = counted_now.edge
    left join counted_then
        on
            binned.table_name = counted_then.table_name
            and binned.column_name = counted_then.column_name
            and binned.scored_on = counted_then.scored_on
            and binned.model_version = counted_then.model_version
            and binned.compared_with = counted_then.compared_with
            and binned.edge = counted_then.edge

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
