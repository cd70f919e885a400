select
    as_date_format(stichtag, '%Y%m%d') as snapshot_date,
    as_text(artnr) as product_id,
    as_text(lager) as location_id,
    as_integer(bestand) as on_hand,
    as_integer(meldebestand) as reorder_point,
    as_integer(wbz_tage) as lead_time_days
from bronze.synthetic__stock_counts
