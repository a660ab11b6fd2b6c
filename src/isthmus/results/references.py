"""The papers behind measures and claims: the one place that papers, report and citations read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A paper as it is cited.

    Attributes:
        key: short name, used in claim ids and folders.
        authors: in BibTeX form.
        title: of the paper.
        venue: where it was published; "arXiv" when only there.
        year: of that publication.
        arxiv: identifier.
    """

    key: str
    authors: str
    title: str
    venue: str
    year: int
    arxiv: str

    @property
    def short(self) -> str:
        """``Fort et al. 2020``, by the year of the preprint."""
        names = self.authors.split(" and ")
        first = names[0].split(",")[0]
        return f"{first}{' et al.' if len(names) > 1 else ''} 20{self.arxiv[:2]}"

    @property
    def bibtex(self) -> str:
        """The entry to cite."""
        kind, place = ("misc", "howpublished") if self.venue == "arXiv" else ("inproceedings", "booktitle")
        return (
            f"@{kind}{{{self.key},\n  title = {{{self.title}}},\n  author = {{{self.authors}}},\n  {place} = {{{self.venue}}},\n"
            f"  year = {{{self.year}}},\n  eprint = {{{self.arxiv}}},\n  archiveprefix = {{arXiv}}\n}}"
        )


REFERENCES: dict[str, Reference] = {
    reference.key: reference
    for reference in (
        Reference(
            "simsek2021",
            "Simsek, Berfin and Ged, François and Jacot, Arthur and Spadaro, Francesco and Hongler, Clément and Gerstner, Wulfram and "
            "Brea, Johanni",
            "Geometry of the Loss Landscape in Overparameterized Neural Networks: Symmetries and Invariances",
            "International Conference on Machine Learning",
            2021,
            "2105.12221",
        ),
        Reference(
            "zhang2021",
            "Zhang, Yaoyu and Zhang, Zhongwang and Luo, Tao and Xu, Zhi-Qin John",
            "Embedding Principle of Loss Landscape of Deep Neural Networks",
            "Advances in Neural Information Processing Systems",
            2021,
            "2105.14573",
        ),
        Reference(
            "allenzhu2018",
            "Allen-Zhu, Zeyuan and Li, Yuanzhi and Liang, Yingyu",
            "Learning and Generalization in Overparameterized Neural Networks, Going Beyond Two Layers",
            "Advances in Neural Information Processing Systems",
            2019,
            "1811.04918",
        ),
        Reference(
            "vesseron2020",
            "Vesseron, Nina and Redko, Ievgen and Laclau, Charlotte",
            "Deep Neural Networks Are Congestion Games: From Loss Landscape to Wardrop Equilibrium and Beyond",
            "arXiv",
            2020,
            "2010.11024",
        ),
        Reference(
            "bu2020",
            "Bu, Zhiqi and Xu, Shiyun and Chen, Kan",
            "A Dynamical View on Optimization Algorithms of Overparameterized Neural Networks",
            "International Conference on Artificial Intelligence and Statistics",
            2021,
            "2010.13165",
        ),
        Reference(
            "fort2020",
            "Fort, Stanislav and Dziugaite, Gintare Karolina and Paul, Mansheej and Kharaghani, Sepideh and Roy, Daniel M. and "
            "Ganguli, Surya",
            "Deep learning versus kernel learning: an empirical study of loss landscape geometry and the time evolution of the "
            "Neural Tangent Kernel",
            "Advances in Neural Information Processing Systems",
            2020,
            "2010.15110",
        ),
    )
}
