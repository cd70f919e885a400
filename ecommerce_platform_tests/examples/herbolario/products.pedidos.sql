select
    as_text(Referencia) as product_id,
    max(as_text("Artículo")) as name,
    max(as_text(Familia)) as category
from bronze.herbolario__pedidos
where as_text(Referencia) is not null and as_text(Referencia) <> 'Referencia'
group by _load_date, as_text(Referencia)
