"""What a command has to do with its runs besides having them made: where they come from, and what comes of them."""


class Source:
    """A plain one: there is nothing else to do. `jobs`: those that are known at first."""

    jobs = ()

    def more(self):
        """Further jobs, each of them once; asked for when there is nothing left to begin."""
        return []

    def later(self):
        """How many jobs `more` will still bring, as far as that is known."""
        return 0

    def example(self):
        """A job like those that `more` will bring; None where they are like those that are known."""

    def wanted(self, job):
        return True

    def begun(self, job):
        """The job's run is about to start here."""

    def heard(self, job):
        """The job's run, at work here, has finished an epoch: whether it is to be stopped."""
        return False

    def made(self, job):
        """The job's run is finished, made here or by another worker."""

    def failed(self, job):
        """The job's run has failed, here or with another worker."""


class Several(Source):
    """Sources together: each is asked for further jobs, and told of its own."""

    def __init__(self, sources):
        self.sources, self.plain = sources, Source()
        self.of = {job.folder: source for source in sources for job in source.jobs}

    def more(self):
        for source in self.sources:
            if jobs := source.more():
                self.of.update({job.folder: source for job in jobs})
                return jobs
        return []

    def later(self):
        return sum(source.later() for source in self.sources)

    def example(self):
        return next((job for source in self.sources if (job := source.example())), None)

    def _source_of(self, job):
        return self.of.get(job.folder, self.plain)

    def wanted(self, job):
        return self._source_of(job).wanted(job)

    def begun(self, job):
        self._source_of(job).begun(job)

    def heard(self, job):
        return self._source_of(job).heard(job)

    def made(self, job):
        self._source_of(job).made(job)

    def failed(self, job):
        self._source_of(job).failed(job)
