select
    as_text(retourennr) as return_id,
    as_text(bestellung) as order_id,
    as_integer(position) as line_number,
    as_integer(menge) as quantity,
    as_decimal_comma(erstattung) as refund_amount,
    as_text(rückgabegrund) as reason,
    as_timestamp_format(eingang, '%d.%m.%Y %H:%M') as returned_at
from bronze.synthetic__returns
