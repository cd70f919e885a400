select
    as_text("Nº Pedido") as order_id,
    row_number() over (partition by _load_date, _source_file, as_text("Nº Pedido") order by _source_row) as line_number,
    as_text(Referencia) as product_id,
    as_integer(Cantidad) as quantity,
    as_decimal_comma("Precio unitario") as unit_price,
    as_integer(Cantidad) * as_decimal_comma("Precio unitario") - as_decimal_comma(Importe) as discount_amount
from bronze.herbolario__pedidos
