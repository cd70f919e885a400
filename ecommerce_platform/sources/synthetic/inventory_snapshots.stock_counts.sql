select
    as_date_format(STICHTAG, '%Y%m%d') as SNAPSHOT_DATE,
    as_text(ARTNR) as PRODUCT_ID,
    as_text(LAGER) as LOCATION_ID,
    as_integer(BESTAND) as ON_HAND,
    as_integer(MELDEBESTAND) as REORDER_POINT,
    as_integer(WBZ_TAGE) as LEAD_TIME_DAYS
from BRONZE.SYNTHETIC__STOCK_COUNTS
