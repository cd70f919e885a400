select
    as_text("Nº Pedido") as order_id,
    min(as_timestamp_format(Fecha || ' ' || Hora, '%d/%m/%Y %H:%M')) as ordered_at,
    max(case lower(as_text(Estado)) when 'anulado' then 'canceled' when 'devuelto' then 'returned'
        when 'en preparación' then 'processing' when 'entregado' then 'delivered' when 'enviado' then 'shipped'
        when 'en tienda' then 'processing'
        else lower(as_text(Estado)) end) as status,
    bool_or(lower(as_text(Estado)) not in ('anulado', 'canceled', 'unavailable')) as is_valid,
    max(as_text(Cliente)) as customer_id
from bronze.herbolario__pedidos
group by _load_date, _source_file, as_text("Nº Pedido")
