-- A product per variant, by its SKU; without one by the name that orders call it.
select
    {prefix}coalesce(
        ltrim(as_text("Variant SKU"), ''''),
        concat_ws(
            ' - ',
            max(as_text("Title")) over (partition by _load_date, _source_file, as_text("Handle")),
            nullif(
                concat_ws(' / ', as_text("Option1 Value"), as_text("Option2 Value"), as_text("Option3 Value")),
                'Default Title'
            )
        )
    ) as product_id,
    concat_ws(
        ' - ',
        max(as_text("Title")) over (partition by _load_date, _source_file, as_text("Handle")),
        nullif(
            concat_ws(' / ', as_text("Option1 Value"), as_text("Option2 Value"), as_text("Option3 Value")),
            'Default Title'
        )
    ) as name,
    max(coalesce(as_text("Type"), as_text("Product Category"))) over (
        partition by _load_date, _source_file, as_text("Handle")
    ) as category,
    max(as_text("Vendor")) over (partition by _load_date, _source_file, as_text("Handle")) as brand,
    as_decimal("Variant Price") as list_price,
    as_decimal("Cost per item") as unit_cost,
    as_double("Variant Grams") as weight
from bronze.products
qualify as_decimal("Variant Price") is not null
