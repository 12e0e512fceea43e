"""Files in and out: the kinds ``import`` and ``export`` of ``async-task:process``, over every resource."""
