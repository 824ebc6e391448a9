"""Lessons and exercises: what `loopnest lesson` and `loopnest exercise` show and check.

The lessons are Markdown in docs/lessons/, installed with the package; the exercises' starters and solutions lie beside
them. lessons.py reads and prints them, exercises.py says what is asked and checks an answer in a process of its own
(runner.py), drawing.py draws the first case that is wrong, pictures.py makes the lessons' pictures.
"""

from .exercises import EXERCISES, Attempt, Exercise, check_exercise, write_starter
from .lessons import Lesson, lesson, lessons

__all__ = ["EXERCISES", "Attempt", "Exercise", "Lesson", "check_exercise", "lesson", "lessons", "write_starter"]
