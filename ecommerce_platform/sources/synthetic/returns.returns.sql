select
    as_text(Retourennr) as Return_id,
    as_text(Bestellung) as Order_id,
    as_integer(Position) as Line_number,
    as_integer(Menge) as Quantity,
    as_decimal_comma(Erstattung) as Refund_amount,
    as_text(Rückgabegrund) as Reason,
    as_timestamp_format(Eingang, '%d.%m.%Y %H:%M') as Returned_at
from Bronze.Synthetic__returns
