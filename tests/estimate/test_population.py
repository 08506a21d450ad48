"""What is drawn from a listing: the same whatever its order, some of everything, more of what matters."""

import random
from collections import Counter

from quire.estimate.population import Population
from quire.records import Document, DocumentRef, DocumentStatus


def listed(number: int, size_bytes: int, name: str = "") -> DocumentRef:
    name = name or f"{number}.pdf"
    return DocumentRef(f"s3://bucket/{name}", "etag", size_bytes, name)


def planned(number: int, num_pages: int) -> Document:
    status = DocumentStatus.OK if num_pages else DocumentStatus.ENCRYPTED
    uri, kind = f"s3://bucket/{number}.pdf", "application/pdf"
    return Document(uri, "etag", 1000, "ab" * 32, kind, num_pages, status, output_name=f"{number}.pdf")


def drawn_uris(refs: list[DocumentRef], number: int, seed: int = 0) -> list[str]:
    population = Population(number, seed)
    for ref in refs:
        population.add(ref)
    return [drawn.unit.uri for drawn in population.draw()]


def test_the_draw_follows_from_names_and_seed_and_not_from_the_order() -> None:
    refs = [listed(number, 10_000 + number) for number in range(500)]
    shuffled = random.Random(1).sample(refs, len(refs))
    assert drawn_uris(refs, 40) == drawn_uris(shuffled, 40)
    assert len(set(drawn_uris(refs, 40))) == 40
    assert set(drawn_uris(refs, 40)) != set(drawn_uris(refs, 40, seed=1))


def test_few_large_documents_are_all_looked_at_and_many_small_ones_a_little() -> None:
    population = Population(100)
    for number in range(5000):
        population.add(listed(number, 20_000))
    for number in range(3):
        population.add(listed(number, 2_000_000_000, f"large{number}.pdf"))
    for number in range(50):
        population.add(listed(number, 300_000, f"{number}.JPG"))
    kinds = Counter(drawn.stratum.split(",")[0] for drawn in population.draw())
    assert sum(drawn.unit.size_bytes > 10**9 for drawn in population.draw()) == 3
    assert kinds["pdf"] >= 90 and kinds["image"] >= 5 and kinds.total() <= 105
    assert population.num_documents == 5053


def test_memory_is_bounded_by_the_sample() -> None:
    population = Population(20)
    for number in range(3000):
        population.add(listed(number, number * 1000))
    assert all(len(stratum.kept) <= 20 for stratum in population.strata.values())


def test_a_stratum_of_several_is_never_judged_by_one() -> None:
    population = Population(1)
    for number in range(50):
        population.add(listed(number, 1000))
    assert len(population.draw()) == 5, "one document would look certain"


def test_planned_documents_are_drawn_by_their_pages_and_those_without_pages_never() -> None:
    population = Population(10)
    for number in range(100):
        population.add(planned(number, 0 if number % 2 else 1 + number))
    drawn = population.draw()
    assert drawn and all(isinstance(one.unit, Document) and one.unit.num_pages for one in drawn)
    assert sum(stratum.num_pages or 0 for stratum in population.strata.values()) == sum(range(1, 100, 2))


def test_odd_objects_are_counted_like_others() -> None:
    population = Population(10)
    for ref in (listed(0, -1, "gone.pdf"), listed(0, 0, "empty.pdf"), listed(0, 5, "no ending \udce9")):
        population.add(ref)
    assert (population.num_documents, population.num_bytes, len(population.draw())) == (3, 5, 3)
    assert Population(10).draw() == []
