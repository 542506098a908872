"""Distillation: a frozen CLIP's knowledge, taken to pixels and boxes.

:mod:`vlmtutor.distill.methods` says what a method is, and which there are.
"""

from .methods import METHODS, TABLES, get_method

__all__ = ["METHODS", "TABLES", "get_method"]

# Detectors beyond the first seven.  They stand here, as stored results of
# segmenters carry a hash of methods.py: a new line there would age them all.
TABLES["list"] = "base boxes, and the list of novel names is known in training"
METHODS |= {
    "Detic": "detection.detic",
    "VLDet": "detection.vldet",
    "PB-OVD": "detection.pb_ovd",
    "XPM": "detection.xpm",
    "PromptDet": "detection.promptdet",
    "VL-PLM": "detection.vl_plm",
    "P3OVD": "detection.p3ovd",
    "OWL-ViT": "detection.owl_vit",
    "OV-DETR": "detection.ov_detr",
    "CondHead": "detection.condhead",
    "RKD": "detection.rkd",
    "RO-ViT": "detection.ro_vit",
}
