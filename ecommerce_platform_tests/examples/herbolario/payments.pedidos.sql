select
    as_text("Nº Pedido") as order_id,
    1 as payment_number,
    max(as_text("Forma de pago")) as method,
    sum(as_decimal_comma(Importe)) as amount
from bronze.herbolario__pedidos
where as_text("Forma de pago") is not null and as_text("Forma de pago") <> 'Forma de pago'
group by _load_date, _source_file, as_text("Nº Pedido")
