"""A Power BI project and SQL views over the published Parquet, made from contracts and metric definitions. No figures are
read and no formula is written here: `dax` turns definitions into measures, `model` and `report` say what files hold."""
