"""Ways of asking. An author of a technique imports these names from here."""

from promptkit.answers.reader.json_reader import read_json as read_json
from promptkit.techniques.artifacts import Prepared as Prepared
from promptkit.techniques.artifacts import Row as Row
from promptkit.techniques.context import Answer as Answer
from promptkit.techniques.context import Exchange as Exchange
from promptkit.techniques.context import Spec as Spec
from promptkit.techniques.methods.pool import clusters as clusters
from promptkit.techniques.parameters import Count as Count
from promptkit.techniques.parameters import ModelReference as ModelReference
from promptkit.techniques.parameters import Temperature as Temperature
from promptkit.techniques.parameters import Tokens as Tokens
from promptkit.techniques.parameters import Warmth as Warmth
from promptkit.techniques.reading import last_named as last_named
from promptkit.techniques.reading import read_list as read_list
from promptkit.techniques.registry import technique as technique
from promptkit.techniques.task import Task as Task
