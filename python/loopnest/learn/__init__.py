"""How does one learn this? Thirteen lessons, an exercise for each, and experiments.

The number of a lesson or exercise and a learner's file come in. A lesson's text goes out, or an Attempt: right, or the
first wrong case, and how fast. The lessons and the exercises' starters and solutions are files in docs/lessons/,
installed with the package.
"""

from .exercises import EXERCISES, Attempt, Exercise, check_exercise, write_starter
from .lessons import Lesson, lesson, lessons

__all__ = ["EXERCISES", "Attempt", "Exercise", "Lesson", "check_exercise", "lesson", "lessons", "write_starter"]
