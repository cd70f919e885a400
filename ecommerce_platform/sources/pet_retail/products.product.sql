-- A unit costs what it cost to land it and to ship it 1,000 miles. Weights are pounds.
select
    as_text(stock_code) as product_id,
    as_text(description) as name,
    as_text(category) as category,
    as_decimal(landed_cost) + as_decimal(shipping_cost_1000_mile) as unit_cost,
    as_double(weight) * 453.59237 as weight
from bronze.pet_retail__product
