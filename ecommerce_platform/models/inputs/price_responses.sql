-- Categories in which a dearer product surely sells less.
select
    category,
    elasticity,
    elasticity_low,
    elasticity_high
from gold.price_elasticity
where elasticity_high < 0
order by category
