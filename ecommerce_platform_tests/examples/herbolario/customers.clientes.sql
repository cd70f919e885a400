select
    as_text("Código") as customer_id,
    as_timestamp_format("Fecha alta", '%d/%m/%Y') as registered_at,
    concat_ws(' ', as_text(Nombre), as_text(Apellidos)) as full_name,
    as_text(Nombre) as given_name,
    as_text(Apellidos) as family_name,
    as_text("Correo electrónico") as email,
    as_text("C.P.") as postal_code,
    as_text("Población") as city
from bronze.herbolario__clientes
