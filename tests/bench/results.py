"""What was measured: figures by case, subject and setting, one set a repetition."""

import json
import statistics


class Results:
    def __init__(self):
        self.figures = {}  # {(case, subject, setting): [{name: number} of each repetition]}

    @classmethod
    def load(cls, files):
        """From the JSON of earlier runs; what a later file has replaces what an earlier one has."""
        results = cls()
        for file in files:
            for one in json.loads(file.read_text())["figures"]:
                results.figures[one["case"], one["subject"], one["setting"]] = one["repetitions"]
        return results

    def add(self, case, subject, setting, figures):
        self.figures.setdefault((case, subject, str(setting)), []).append(figures)

    def all(self, case, subject, setting):
        return self.figures.get((case, subject, str(setting)), [])

    def of_case(self, case):
        """[(subject, setting, [figures])], in the order of their first measurement."""
        return [(key[1], key[2], rounds) for key, rounds in self.figures.items() if key[0] == case]

    def median(self, case, subject, setting, name):
        values = [figures[name] for figures in self.all(case, subject, setting) if figures.get(name) is not None]
        return statistics.median(values) if values else None

    def ratio(self, case, subject, base, setting, name, base_setting=None):
        """Median of the ratios of each repetition: what disturbed a round disturbed both. None: not measured."""
        ours = self.all(case, subject, setting)
        theirs = self.all(case, base, setting if base_setting is None else base_setting)
        ratios = [a[name] / b[name] for a, b in zip(ours, theirs) if a.get(name) is not None and b.get(name)]
        return statistics.median(ratios) if ratios else None

    def as_json(self):
        return [{"case": case, "subject": subject, "setting": setting, "repetitions": rounds}
                for (case, subject, setting), rounds in self.figures.items()]  # fmt: skip
