with payments as (

    select
        order_id,
        payment_number,
        method,
        installments,
        amount,
        paid_at
    from silver.payments

),

methods as (

    select
        code,
        label
    from silver.labels
    where domain = 'payment_method'

),

orders as (

    select
        order_id,
        customer_id,
        person_id,
        order_date,
        is_valid
    from gold.fct_orders

)

select
    payments.order_id,
    payments.payment_number,

    orders.customer_id,
    orders.person_id,
    orders.order_date,
    orders.is_valid,
    coalesce(methods.label, payments.method) as payment_method,
    payments.method as payment_method_code,

    payments.installments,
    payments.amount,
    payments.paid_at
from payments
left join methods on payments.method = methods.code
left join orders on payments.order_id = orders.order_id
