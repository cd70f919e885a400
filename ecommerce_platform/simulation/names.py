"""Names of the people in customer records, as frequent as names are: a few are everywhere, most are rare.

Only the words and how often they occur; who has which name is decided in `records`.
"""

from __future__ import annotations

import numpy as np

#: By frequency, the most frequent first. Common in Germany; nobody in particular is meant.
WOMEN = (  # noqa: SIM905
    "Maria Ursula Anna Monika Petra Elisabeth Sabine Renate Helga Karin Brigitte Ingrid Erika Andrea Gisela "
    "Claudia Susanne Gabriele Christa Christine Stefanie Nicole Martina Angelika Birgit Julia Heike Barbara "
    "Katharina Kerstin Sandra Anja Melanie Silke Ute Sarah Laura Lisa Katrin Jana Nadine Tanja Sonja Ines "
    "Anke Annette Cornelia Marion Manuela Bettina Doris Ulrike Simone Daniela Christina Jutta Lena Lea Hannah "
    "Jessica Vanessa Michelle Franziska Johanna Sophie Marie Emma Mia Clara Charlotte Luisa Ida Frieda Greta "
    "Elena Nina Carina Miriam Judith Verena Eva Heidi Rita Waltraud Hildegard Gertrud Irmgard Edith Elke Dagmar "
    "Beate Regina Astrid Silvia Antje Maike Wiebke Svenja Mareike Friederike Henrike Gesa Imke Swantje Kirsten "
    "Carolin Annika Janina Alina Celina Chiara Natalie Olga Tatjana Swetlana Irina Natalia Ewa Agnieszka "
    "Magdalena Joanna Fatma Ayşe Emine Hatice Zeynep Elif Aylin Esra Merve Leyla Amira Yasmin Samira Aisha "
    "Giulia Francesca Paola Carmen Pilar Ana Sofia Mila Zoe Olivia Nele Pauline Mathilda Rosa Thea Wanda Dörte "
    "Käthe Bärbel Jördis Sünje Frauke Renée Céline Désirée"
).split()
MEN = (  # noqa: SIM905
    "Peter Michael Thomas Wolfgang Klaus Werner Manfred Hans Andreas Helmut Jürgen Heinz Günter Gerhard Stefan "
    "Uwe Bernd Frank Dieter Horst Christian Martin Karl Matthias Jörg Markus Rainer Ralf Daniel Alexander "
    "Torsten Dirk Holger Joachim Sebastian Volker Norbert Jan Jens Sven Tobias Florian Philipp Tim Marcel "
    "Patrick Dennis Kevin Benjamin Christoph Robert Oliver Axel Detlef Harald Rolf Walter Herbert Kurt Siegfried "
    "Günther Otto Paul Felix Leon Lukas Jonas Maximilian Luca Noah Elias Finn Ben Julian Moritz Niklas David "
    "Simon Johannes Jakob Anton Emil Oskar Theo Carl Friedrich Georg Gustav Konrad Ludwig Rudolf Ulrich Gregor "
    "Bastian Björn Sören Olaf Ingo Heiko Mario René Marco Steffen Ronny Mike Maik Enrico Lars Nils Ole Malte Hauke "
    "Arne Thorben Hendrik Fabian Dominik Lennart Jannik Mehmet Mustafa Ahmet Ali Murat Emre Yusuf Can Hakan "
    "Kemal Omar Karim Hassan Ibrahim Piotr Tomasz Krzysztof Pawel Dmitri Sergej Igor Viktor Wladimir Giovanni "
    "Antonio Salvatore Luigi Miguel Carlos Rafael Linus Mats Bjarne Jasper Henri Levi Till Veit Xaver Korbinian "
    "Leopold Quirin Falk Jost"
).split()
_COMMON_SURNAMES = (  # noqa: SIM905
    "Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Schäfer Koch Bauer Richter Klein "
    "Wolf Schröder Neumann Schwarz Zimmermann Braun Krüger Hofmann Hartmann Lange Schmitt Werner Schmitz Krause "
    "Meier Lehmann Schmid Schulze Maier Köhler Herrmann König Walter Mayer Huber Kaiser Fuchs Peters Lang Scholz "
    "Möller Weiß Jung Hahn Schubert Vogel Friedrich Keller Günther Frank Berger Winkler Roth Beck Lorenz Baumann "
    "Franke Albrecht Schuster Simon Ludwig Böhm Winter Kraus Martin Schumacher Krämer Vogt Stein Jäger Otto Sommer "
    "Groß Seidel Heinrich Brandt Haas Schreiber Graf Schulte Dietrich Ziegler Kuhn Kühn Pohl Engel Horn Busch "
    "Bergmann Thomas Voigt Sauer Arnold Wolff Pfeiffer Yilmaz Kaya Demir Şahin Çelik Yıldız Öztürk Aydın Arslan "
    "Nowak Kowalski Wiśniewski Wójcik Kamiński Ivanov Petrov Popov Schwab Ernst Rossi Russo Ferrari Garcia "
    "Fernandez Lopez Nguyen Tran Hussein Haddad Khalil Novak Horvat Kovač Jansen Claasen Petersen Hansen Thomsen "
    "Brandl Gruber Moser Hofer Ahrens Conrad Quandt Thiel Ullrich Zimmer Urban Lindner Kunz Barth Ritter Götz Heinz"
).split()
#: Rare surnames are put together the way the real ones are: Steinbach, Neuhofer, Kaltenbrunner.
_SURNAME_BEGINNINGS = (  # noqa: SIM905
    "Alten Neu Ober Nieder Stein Holz Wald Berg Feld Linden Eichen Buchen Birken Tannen Rosen Kirch Burg Schloss "
    "Mühl Brunn Stroh Korn Hafer Gersten Weizen Kalten Warmen Schön Lang Kurz Breiten Schmal Grün Roten Weißen "
    "Schwarzen Blum Apfel Birn Kirsch Nuss Wein Bier Salz Eisen Silber Gold Kupfer Hammer Wagen Rad Hof Markt "
    "Brück Teich See Moor Sand Kies Lehm Hagen Wolfs Bären Fuchs Hasen Hirsch Reh Vogels Falken Adler Finken "
    "Sommer Winter Oster Sonnen Stern Himmel Wind Regen Dorn Distel"
).split()
_SURNAME_ENDINGS = (  # noqa: SIM905
    "mann bauer hofer hoff berg berger feld felder bach bacher stein steiner tal thaler wald walder brunn brunner "
    "meier müller huber egger eder ner huth kamp horst burg dorf dorfer hausen häuser au auer moser gruber graf "
    "schmidt schneider weber becker knecht heim heimer bruch brink busch rode roth weg eck ecker loh garten "
    "gärtner haupt fuß hardt kopf"
).split()
#: What people are called besides; several for a name where several are usual.
NICKNAMES = {
    "Alexander": ("Alex", "Sascha"), "Andreas": ("Andi",), "Angelika": ("Geli",), "Anna": ("Anni",),
    "Annette": ("Anne",), "Barbara": ("Babs", "Bärbel"), "Benjamin": ("Ben", "Benni"), "Bernd": ("Berni",),
    "Brigitte": ("Gitte",), "Charlotte": ("Lotte", "Charly"), "Christian": ("Chris",), "Christina": ("Tina", "Chris"),
    "Christine": ("Tina",), "Christoph": ("Chris",), "Cornelia": ("Conny", "Nele"), "Daniel": ("Dani",),
    "Daniela": ("Dani",), "Elisabeth": ("Lisa", "Sissi", "Elli"), "Franziska": ("Franzi",), "Friederike": ("Rike",),
    "Friedrich": ("Fritz",), "Gabriele": ("Gabi",), "Georg": ("Schorsch",), "Gertrud": ("Trude",), "Günter": ("Günni",),
    "Hans": ("Hansi",), "Heinz": ("Heini",), "Helmut": ("Helle",), "Hildegard": ("Hilde",), "Jakob": ("Jack",),
    "Jessica": ("Jessi",), "Joachim": ("Achim", "Jochen"), "Johanna": ("Hanna", "Jo"), "Johannes": ("Hannes", "Jo"),
    "Julia": ("Jule",), "Karl": ("Kalle",), "Katharina": ("Kathi", "Käthe"), "Katrin": ("Kati",), "Klaus": ("Klausi",),
    "Konrad": ("Conny",), "Laura": ("Lauri",), "Ludwig": ("Lutz",), "Magdalena": ("Lena", "Leni"), "Manfred": ("Manni",),
    "Manuela": ("Manu",), "Maria": ("Mia", "Mitzi"), "Markus": ("Max",), "Matthias": ("Matze", "Hias"),
    "Maximilian": ("Max",), "Melanie": ("Mel", "Melli"), "Michael": ("Michi", "Micha"), "Monika": ("Moni",),
    "Nicole": ("Nicky",), "Norbert": ("Nobby",), "Oliver": ("Oli",), "Patrick": ("Paddy",), "Peter": ("Pit",),
    "Philipp": ("Phil",), "Rafael": ("Rafa",), "Robert": ("Rob", "Bobby"), "Rudolf": ("Rudi",), "Sabine": ("Bine",),
    "Sandra": ("Sandy",), "Sebastian": ("Basti",), "Siegfried": ("Siggi",), "Silvia": ("Silvi",), "Sophie": ("Sofie",),
    "Stefan": ("Steff",), "Stefanie": ("Steffi",), "Susanne": ("Susi", "Sanne"), "Sven": ("Svenni",),
    "Tatjana": ("Tanja",), "Thomas": ("Tom", "Tommi"), "Tobias": ("Tobi",), "Torsten": ("Toto",), "Ulrich": ("Uli",),
    "Ulrike": ("Uli", "Rike"), "Ursula": ("Uschi", "Ulla"), "Vanessa": ("Nessi",), "Volker": ("Volki",),
    "Waltraud": ("Traudl",), "Werner": ("Werni",), "Wolfgang": ("Wolfi", "Wolle"),
}  # fmt: skip


def _distinct(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


#: Some five thousand, the common ones first.
SURNAMES = _distinct(
    _COMMON_SURNAMES
    # Endings vary fastest from a moving start, so that neighbours in rank do not all begin alike.
    + [
        beginning + _SURNAME_ENDINGS[(shift + 7 * place) % len(_SURNAME_ENDINGS)]
        for shift in range(len(_SURNAME_ENDINGS))
        for place, beginning in enumerate(_SURNAME_BEGINNINGS)
    ]
)


def name_weights(count: int, *, offset: float, exponent: float) -> np.ndarray:
    """Relative frequencies of `count` names by rank: 1 / (rank + offset) ** exponent, summing to 1.

    The law of Zipf and Mandelbrot, which names of people follow well. Returns `count` floats, descending.
    """
    weights = 1 / (np.arange(1, count + 1) + offset) ** exponent
    return weights / weights.sum()


#: The most frequent first name has 2.7 % of a sex, the least frequent 0.2 %; the first surname has 1.0 %.
WOMEN_WEIGHTS = name_weights(len(WOMEN), offset=20, exponent=1.2)
MEN_WEIGHTS = name_weights(len(MEN), offset=20, exponent=1.2)
SURNAME_WEIGHTS = name_weights(len(SURNAMES), offset=10, exponent=0.85)
