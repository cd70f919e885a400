"""Names of columns as concepts, in five languages, whatever they are glued together with."""

from __future__ import annotations

import pytest

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.scaffold.match import words_of
from ecommerce_platform.scaffold.words import match, snake, vocabulary


@pytest.mark.parametrize(
    ("name", "concepts"),
    [
        ("order_id", ["order", "id"]),
        ("orderid", ["order", "id"]),
        ("OrderDate", ["order", "date"]),
        ("Bestelldatum", ["order", "date"]),
        ("Auftragsnummer", ["order", "id"]),
        ("Kundennr.", ["customer", "id"]),
        ("Stückpreis", ["price"]),
        ("Rückgabegrund", ["return", "reason"]),
        ("Nº Pedido", ["id", "order"]),
        ("codPedido", ["id", "order"]),
        ("Fecha de entrega", ["date", "delivered"]),
        ("C.P.", ["postal"]),
        ("Código Postal", ["postal"]),
        ("N° commande", ["id", "order"]),
        ("Réf. produit", ["id", "product"]),
        ("Dto. %", ["discount", "percent"]),
        ("dataCadastro", ["date", "registered"]),
        ("qtde", ["quantity"]),
        ("customer_zip_code_prefix", ["customer", "postal"]),
    ],
)
def test_a_name_is_read_as_concepts(name: str, concepts: list[str]) -> None:
    tokens = vocabulary().read(name)
    assert len(tokens) == len(concepts)
    for token, concept in zip(tokens, concepts, strict=True):
        assert concept in token.concepts, (name, tokens)


def test_words_that_nobody_knows_mean_nothing() -> None:
    assert [token.concepts for token in vocabulary().read("frobnicate")] == [frozenset()]


@pytest.mark.parametrize(
    ("entity", "column", "better", "worse"),
    [
        ("orders", "ordered_at", "order_purchase_timestamp", "order_approved_at"),
        ("orders", "shipped_at", "order_delivered_carrier_date", "order_delivered_customer_date"),
        ("orders", "promised_at", "order_estimated_delivery_date", "order_approved_at"),
        ("order_items", "line_number", "order_item_id", "product_id"),
        ("order_items", "unit_price", "Precio unitario", "Importe"),
        ("customers", "city", "customer_city", "customer_state"),
        ("products", "category", "product_category_name", "product_name"),
    ],
)
def test_a_name_says_its_own_column_better(catalog: Catalog, entity: str, column: str, better: str, worse: str) -> None:
    words = words_of(entity, catalog.contract(f"silver.{entity}"))

    def said(name: str) -> float:
        return match(vocabulary().read(name), words.columns[column], words.own, frozenset())

    assert said(better) >= 0.55
    assert said(better) > said(worse)


@pytest.mark.parametrize(
    ("names", "language"),
    [
        (["Nº Pedido", "Fecha", "Importe"], "es"),
        (["Bestellnummer", "Menge", "Preis"], "de"),
        (["N° commande", "Quantité", "Prix"], "fr"),
        (["codPedido", "qtde", "preco"], "pt"),
        (["order_id", "quantity", "price"], None),
        ([], None),
    ],
)
def test_the_language_is_that_of_most_names(names: list[str], language: str | None) -> None:
    assert vocabulary().language(names) == language


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Entregado", "delivered"), ("ENVIADO", "shipped"), ("storniert", "canceled"), ("Livrée", "delivered"),
        ("in_progress", "processing"), ("Em separação", "processing"), ("not-available", "unavailable"), ("xyz", None),
    ],
)  # fmt: skip
def test_a_shops_word_for_a_state_is_understood(word: str, status: str | None) -> None:
    assert vocabulary().status(word) == status


def test_every_status_is_one_that_orders_accept(catalog: Catalog) -> None:
    accepted = set(catalog.contract("silver.orders").columns["status"].accepted or ())
    assert set(vocabulary().statuses.values()) <= accepted


def test_the_vocabulary_names_columns_and_concepts_that_exist(catalog: Catalog) -> None:
    concepts = {concept for found in vocabulary().concepts.values() for concept in found}
    for entity, words in vocabulary().entities.items():
        for group in words.needs:
            assert set(group) <= words.columns.keys(), entity
        assert {c for name in words.names for c in name} <= concepts, entity
        if entity in catalog.entities:
            columns = catalog.contract(f"silver.{entity}").columns
            assert {name for name in words.columns if not name.startswith("_")} <= columns.keys(), entity


def test_names_become_snake_case() -> None:
    assert snake("Pedidos España 2024") == "pedidos_espana_2024"
    assert snake("2024 orders") == "orders"
    assert snake("OrderLines") == "order_lines"
    assert snake("!!!") == ""
