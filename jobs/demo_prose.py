"""What the demo's documents say: short pieces about paper, printing and libraries, as HTML for MuPDF to lay out.

Words only; `demo_documents.py` puts them on pages.
"""

from __future__ import annotations

ARTICLE = """
<h1>A Sheet of Paper, Considered</h1>
<p>Take a sheet of paper and hold it against a window. In the light it is no longer white: it is cloudy, with
thick places and thin ones, and in good paper a faint row of lines shows where the mould lay under the wet pulp.
Every sheet made by hand carries the print of the tool that made it. A sheet made by machine carries it too, only
more evenly, and over many miles.</p>
<h2>From rags to reels</h2>
<p>For most of its life paper was made of worn-out clothes. Linen and hemp were sorted by ragpickers, left in
heaps to soften, and beaten under wooden hammers until nothing but fibre was left. The fibre was thrown into a vat
of water, and a vatman dipped a sieve into it and lifted out a sheet. Two dips a minute was good going; a full vat
needed three people, and a mill was counted by its vats.</p>
<p>Three things changed that, and they came within one lifetime:</p>
<ul>
<li>the endless wire, which let the sheet run on for as long as there was pulp;</li>
<li>chlorine, which made white paper out of coloured rags;</li>
<li>wood, which ended the search for rags altogether.</li>
</ul>
<p>Cheap paper is the quiet partner in most of what we call progress in print. The daily newspaper, the penny
novel, the school exercise book and the railway timetable all had to wait for it. It had its price. Paper from
ground wood keeps its acid, and the acid keeps working: the novels of that age are brown at the edge today, and
the newspapers break where they were folded.</p>
<h2>How to read a page without reading it</h2>
<p>A page says a good deal before its first word is read. The margins tell how dear the paper was. The size of the
letters tells who was meant to read it, and by what light. Even the order of things is a habit that had to be
learned:</p>
<ol>
<li>The title stands alone, because somebody once decided that a book should have a face.</li>
<li>The number stands in the corner, because an index is useless without it.</li>
<li>The note stands at the foot, because the margin had become too narrow for it.</li>
</ol>
<p>None of this was obvious. Early printed books have no title page, no page numbers and no index; they begin at
the top of the first leaf, like a letter, and trust the reader to go on until the end.</p>
<h2>What libraries keep</h2>
<p>A library is a promise made to people who are not born yet. Those who make it do not know which of the books
will be wanted, so they keep the almanacs with the epics, the price lists with the prayer books. Time and again
the price lists turned out to be the treasure. A shopping list from a drowned ship, a ledger that lined the spine
of a better book, a calendar with a farmer's notes on the weather: each has told historians something that no
chronicle thought worth writing down.</p>
<p>That is the case for reading everything, including what looks dull, and for keeping count of what could not be
read. A page that is missing from the shelf is a loss. A page that is missing from the catalogue is worse, because
nobody will look for it.</p>
"""

PAPER_HEAD = """
<h1>On the Even Colour of a Page</h1>
<p class="authors">M. Halloran and J. Okonjo, Institute for the Study of Ordinary Print</p>
"""

PAPER = """
<p><b>Abstract.</b> Printers speak of the colour of a page and mean its greyness: how even the text looks when it
is seen from too far away to be read. We measured the greyness of 240 pages set between 1910 and 1990 and compared
it with the judgement of five compositors. Narrow columns are the least even, and the cause is the space between
words, not the letters.</p>
<h2>1 Introduction</h2>
<p>A compositor who justifies a line has one thing to give: space. The letters have their widths, the line has its
measure, and what is left over goes between the words. In a wide column there are many gaps to share it, and no
one sees. In a narrow column there are four or five, and when they open up on several lines together a pale river
runs down the page.</p>
<p>The remedy has been known for centuries. Break words at the end of the line, choose a smaller letter, or set
the column with a ragged edge. Each costs something, and for each there are readers who dislike it. We wanted to
know how much is won.</p>
<h2>2 Material</h2>
<p>We took pages from novels, newspapers and railway timetables, one from each decade and kind, and left out those
with pictures. Each page was photographed under the same lamp and reduced to a grid of one square for each letter
space. The greyness of a square is the share of it that is covered by ink.</p>
<h2>3 Method</h2>
<p>For every page we took the mean greyness and its spread from square to square. The spread, divided by the mean,
we call unevenness. A page of nothing but full stops would be very even and very dull, so pages with fewer than
two hundred words were left out as well.</p>
<p>The compositors were shown the same pages from three metres away, turned upside down, and asked to sort them
from calm to restless. They had each spent at least thirty years at the case, and they did not need long.</p>
<h2>4 Results</h2>
<p>Table 1 gives the means. Novels are calm, newspapers are not, and timetables, which have more rules than words,
are in a class of their own.</p>
<table>
<tr><th>Kind</th><th>Pages</th><th>Measure (mm)</th><th>Unevenness</th></tr>
<tr><td>Novel</td><td>96</td><td>92</td><td>0.11</td></tr>
<tr><td>Newspaper</td><td>102</td><td>48</td><td>0.27</td></tr>
<tr><td>Timetable</td><td>42</td><td>31</td><td>0.44</td></tr>
</table>
<p class="caption">Table 1. Unevenness by kind of print.</p>
<p>The order in which the compositors put the pages agrees with ours for nine pages in ten. Where it differs, they
had noticed something that our grid cannot see: a worn letter, a crooked line, or a heading set in the wrong
size.</p>
<h2>5 Discussion</h2>
<p>Half of the unevenness of a newspaper goes away when its lines are left ragged, and a third when words may be
broken after two letters instead of three. Both were tried by newspapers of the time. Both were given up after
letters from readers, who held that a column should have two straight sides.</p>
<p>We conclude that the river is a matter of taste as much as of arithmetic. The eye forgives what it has been
brought up on.</p>
<h2>6 Thanks</h2>
<p>We thank the compositors, who asked not to be named, and the reading room that let us turn its newspapers upside
down.</p>
"""

INVOICE = """
<h1>Invoice</h1>
<p><b>Harrow &amp; Lisle, Bookbinders</b><br/>14 Foundry Row, Castlegate</p>
<p>To: The Town Library, Purchasing<br/>Invoice number: 2041-B<br/>Date: 3 March 2025<br/>Payment within 30 days
</p>
"""

INVOICE_ROWS = (
    ("Item", "Quantity", "Unit price", "Amount"),
    ("Rebinding in half leather", "12", "38.00", "456.00"),
    ("Spine repair, cloth", "40", "11.50", "460.00"),
    ("Archival boxes, folio", "25", "9.20", "230.00"),
    ("Japanese tissue, sheets", "300", "0.85", "255.00"),
    ("Gold tooling of titles", "12", "6.75", "81.00"),
    ("Delivery", "1", "18.00", "18.00"),
    ("Total", "", "", "1,500.00"),
)

LETTER = (
    """
<p>Reading Room, 9 October 1961</p>
<p>Dear Miss Abernathy,</p>
<p>Your three boxes arrived on Tuesday and are already the talk of the cellar. The first holds what you promised:
playbills, tied by season, with the names of the printers noted in pencil. The second is mostly wallpaper. We
were about to return it when the porter turned a piece over and found the back covered with accounts, in a neat
hand, for candles, rope and the hire of a bear.</p>
<p>We should like to keep the wallpaper.</p>
<p>The third box I have not opened. It is marked in your grandfather's writing with the words "Not before the
roof is mended", and the roof, as you know, is not mended. The builder speaks of spring.</p>
""",
    """
<p>You ask how the bills will be looked after. Each is washed, dried between felts and laid in a folder of its
own, and a card is written for it that says what it is, when it came and who gave it. Nothing is glued. What
cannot be read today is kept with the rest and marked as unread, for somebody with better eyes or a better lamp.
</p>
<p>If you should come across the playbill for the benefit night of 1843, we would be very glad of it. It is the
only one of that winter that is missing, and the accounts on the wallpaper suggest that it was the night of the
bear.</p>
<p>With kind regards to your sister,</p>
<p>E. Marchbanks<br/>Keeper of Printed Ephemera</p>
""",
)

LANDSCAPE = """
<h1>Opening Hours of the Branch Libraries</h1>
<p>This page is stored lying on its side, as many a wide table is, with a note in the file that asks readers to
turn it. Whoever ignores the note reads nothing.</p>
<ul>
<li>Harbour Street: Monday to Friday, nine to six; Saturday until one.</li>
<li>Mill Lane: Tuesday and Thursday, two to eight.</li>
<li>The Book Boat: Wednesdays, weather permitting.</li>
</ul>
"""

PAMPHLET = (
    """
<h1>The Blank Leaf</h1>
<p>Printers fold large sheets into small pages, and the number of pages in a book is therefore seldom the number
that the author had in mind. What is left over stays white. Old catalogues count these leaves with care, because a
book that lacks its blanks lacks a part of itself.</p>
<p>The next page of this pamphlet is one of them.</p>
""",
    """
<p>The last page was left blank on purpose. A reader that invents words for it has failed, and so has one that
leaves it out of the count: this pamphlet has three pages, and will have three in any honest catalogue.</p>
""",
)

POSTER = """
<h1>Book Fair</h1>
<h2>Saturday, 14 June, ten to five</h2>
<p>Forty stalls in the old corn exchange. Printing on a hand press for children. Bring a book, take a book. Tea and
cake in the gallery.</p>
<p><b>Admission free</b></p>
"""

FAX = (
    """
<h1>Interlibrary Loan Request</h1>
<p>To: Central Library, Loans Desk<br/>From: Mill Lane Branch<br/>Pages including this one: 2</p>
<p>Please send by the next van: one bound volume of the Castlegate Courier, January to June 1908. The reader is
ninety-one and would like to see the notice of her birth.</p>
""",
    """
<h1>Reply</h1>
<p>The volume is on its way and may be kept for six weeks. The notice is on page 4 of the issue for 19 February,
third column, below an advertisement for umbrellas. Please give her our compliments.</p>
""",
)

LOCKED = """
<h1>Minutes of the Acquisitions Committee</h1>
<p>The committee met in private and agreed to bid for the lighthouse keeper's library, up to the sum that was named
last time. The treasurer asked that the sum should not be written down. It was not written down.</p>
"""

SEALED = """
<h1>Sealed Bid</h1>
<p>Nobody who lacks the password can read this page, and the password is on no list.</p>
"""

CHAPTERS = (
    """
<h1>Chapter One: The Vat</h1>
<p>The vatman stood at his vat from six until the light went. He wore felt on his arms and wood on his feet, and
he could tell by the pull of the water how many sheets were left in it.</p>
""",
    """
<h1>Chapter Two: The Press</h1>
<p>When the pile of sheets and felts was as high as a table it was drawn under the press, and everybody in the mill
came to pull the bar, the owner included.</p>
""",
    """
<h1>Chapter Three: The Loft</h1>
<p>Paper dries best in moving air. The lofts of the mill had shutters on every side, and one boy did nothing all
day but open and close them as the wind went round.</p>
""",
)

LANGUAGES = """
<h1>Books in Other Words</h1>
<p>German: Ein Bücherwurm frißt sich durch das größte Wörterbuch und wird trotzdem nicht klüger.</p>
<p>French: Le relieur a réparé la vieille reliure, et l'élève a enfin retrouvé sa leçon.</p>
<p>Spanish: El señor de la librería soñó con un índice sin páginas.</p>
<p>Danish: Læseren på øen får sine bøger med båden.</p>
"""
