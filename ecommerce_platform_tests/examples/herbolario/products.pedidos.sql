select
    as_text(Referencia) as product_id,
    as_text("Artículo") as name,
    as_text(Familia) as category
from bronze.herbolario__pedidos
where as_text(Referencia) is not null and as_text(Referencia) <> 'Referencia'
