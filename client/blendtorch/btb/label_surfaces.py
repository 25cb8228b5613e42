"""Surfaces of evaluated meshes as the label passes draw them: read into arrays, and as batches on the GPU."""

import bpy
import gpu
import numpy as np

# Bytes; what is smaller is compared as bytes, ten times as fast as numpy would begin to.
_SMALL = 1 << 14


class Surface:
    """One mesh as it was when it was read; a mesh that has changed since becomes another `Surface`.

    Triangles are drawn with vertices of their own for each corner, for normals and UVs belong to corners.

    Attributes:
        vertices: (V, 3) float32, object axes, metres.
        corner_vertices: (C,) int32, the vertex of each corner of each face.
        corner_normals: (C, 3) float32 unit vectors, object axes; None where no normals are asked for.
        triangles: (T, 3) int32, corners.
        bounds: (2, 3) float64, lowest and highest coordinates of vertices that are finite, object axes.
        slots: The material slots in use; empty unless they were read.
    """

    def __init__(self, mesh: bpy.types.Mesh, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.vertices = arrays["vertices"]
        self.corner_vertices = arrays["corner_vertices"]
        self.corner_normals = arrays.get("corner_normals")
        mesh.calc_loop_triangles()
        self.triangles = _read(mesh.loop_triangles, "loops", 3, np.int32)
        self._faces = _read(mesh.loop_triangles, "polygon_index", 1, np.int32)[:, 0] if "slots" in arrays else None
        finite = self.vertices[np.isfinite(self.vertices).all(axis=1)]
        if len(finite) == 0:
            finite = np.zeros((1, 3), np.float32)
        self.bounds = np.stack([finite.min(axis=0), finite.max(axis=0)]).astype(np.float64)
        self.slots: list[int] = np.unique(arrays["slots"]).tolist() if "slots" in arrays else []
        self._batches: dict[object, gpu.types.GPUBatch] = {}
        self._motion: tuple[Surface, dict[object, gpu.types.GPUBatch]] | None = None

    def batch(self, slots: tuple[int, ...] | None = None, uv_map: str | None = None) -> gpu.types.GPUBatch | None:
        """Triangles with the attributes `pos`, `nor` if normals were read, and `uv` if asked for.

        Args:
            slots: Only the triangles with these material slots; None means all.
            uv_map: Name of the UV map, "" for the one that is active for renders; None leaves `uv` out.

        Returns:
            The batch; None where there is no such triangle.
        """
        key = (slots, uv_map)
        if key not in self._batches:
            attributes = {"pos": self.vertices[self.corner_vertices]}
            if self.corner_normals is not None:
                attributes["nor"] = self.corner_normals
            self._batches[key] = self._make(attributes, slots, uv_map)
        return self._batches[key]

    def motion_batch(
        self, there: "Surface", slots: tuple[int, ...] | None = None, uv_map: str | None = None
    ) -> gpu.types.GPUBatch | None:
        """Triangles with the attributes `pos`, here, and `pos_there`, where the same corner is in another surface."""
        if self._motion is None or self._motion[0] is not there:
            self._motion = (there, {})
        batches = self._motion[1]
        key = (slots, uv_map)
        if key not in batches:
            attributes = {
                "pos": self.vertices[self.corner_vertices],
                "pos_there": there.vertices[there.corner_vertices],
            }
            batches[key] = self._make(attributes, slots, uv_map)
        return batches[key]

    def corresponds_to(self, other: "Surface") -> bool:
        """Whether both have the same corners, so that it is known where each point of one is in the other."""
        return self is other or np.array_equal(self.corner_vertices, other.corner_vertices)

    def _make(
        self, attributes: dict[str, np.ndarray], slots: tuple[int, ...] | None, uv_map: str | None
    ) -> gpu.types.GPUBatch | None:
        triangles = self.triangles
        if slots is not None:
            triangles = triangles[np.isin(self.arrays["slots"][self._faces], slots)]
        if len(triangles) == 0:
            return None
        if uv_map is not None:
            # Blender, too, takes a map that is not there to be zero.
            missing = np.zeros((len(self.corner_vertices), 2), np.float32)
            attributes = {**attributes, "uv": self.arrays.get(f"uv {uv_map}", missing)}
        layout = gpu.types.GPUVertFormat()
        for name, values in attributes.items():
            layout.attr_add(id=name, comp_type="F32", len=values.shape[1], fetch_mode="FLOAT")
        corners = gpu.types.GPUVertBuf(layout, len(self.corner_vertices))
        for name, values in attributes.items():
            corners.attr_fill(name, values)
        return gpu.types.GPUBatch(type="TRIS", buf=corners, elem=gpu.types.GPUIndexBuf(type="TRIS", seq=triangles))


class SurfaceCache:
    """Surfaces of the meshes of the last frame, so that what did not change is not sent to the GPU again.

    Whether a mesh has changed is told by comparing what it holds. Blender's own notifications reach handlers only,
    which others can remove, and addresses are used again for other meshes.

    Args:
        normals: Whether normals are read.
        uv_maps: Whether UV maps and material slots are read.
    """

    def __init__(self, normals: bool, uv_maps: bool) -> None:
        self._normals = normals
        self._uv_maps = uv_maps
        self._last: dict[int, Surface | None] = {}
        self._now: dict[int, Surface | None] = {}

    def begin_frame(self) -> None:
        """Forgets what was not asked for since the last call."""
        self._last, self._now = self._now, {}

    def surface(self, obj: bpy.types.Object) -> Surface | None:
        """The surface of an evaluated mesh object; None if it has no faces. Cheap from the second call in a frame on."""
        key = obj.data.as_pointer()
        if key not in self._now:
            before = self._last.get(key)
            if obj.data.is_editmode:
                # What is being edited is not in the mesh itself.
                self._now[key] = self._read(obj.to_mesh(), before)
                obj.to_mesh_clear()
            else:
                self._now[key] = self._read(obj.data, before)
        return self._now[key]

    def _read(self, mesh: bpy.types.Mesh, before: Surface | None) -> Surface | None:
        if len(mesh.polygons) == 0:
            return None
        arrays = {
            "vertices": _read(mesh.attributes["position"].data, "vector", 3, np.float32),
            "corner_vertices": _read(mesh.attributes[".corner_vert"].data, "value", 1, np.int32)[:, 0],
            # Tell faces of the same corners apart: where each begins.
            "corner_edges": _read(mesh.attributes[".corner_edge"].data, "value", 1, np.int32)[:, 0],
            "edges": _read(mesh.attributes[".edge_verts"].data, "value", 2, np.int32),
        }
        if self._normals:
            arrays["corner_normals"] = _read(mesh.corner_normals, "vector", 3, np.float32)
        if self._uv_maps:
            slots = mesh.attributes.get("material_index")  # not there where all are 0
            arrays["slots"] = (
                np.zeros(len(mesh.polygons), np.int32)
                if slots is None
                else _read(slots.data, "value", 1, np.int32)[:, 0]
            )
            for layer in mesh.uv_layers:
                arrays[f"uv {layer.name}"] = _read(layer.uv, "vector", 2, np.float32)
                if layer.active_render:
                    arrays["uv "] = arrays[f"uv {layer.name}"]
        if before is not None and _equal(arrays, before.arrays):
            return before
        return Surface(mesh, arrays)


def _equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of the same dtype are the same to the byte: NaN is, too."""
    if a.nbytes < _SMALL:
        return a.shape == b.shape and a.tobytes() == b.tobytes()
    return np.array_equal(a.view(np.int32), b.view(np.int32))


def _read(items: bpy.types.bpy_prop_collection, attribute: str, width: int, dtype: type) -> np.ndarray:
    # Attributes in the type that Blender stores: foreach_get copies memory then, instead of asking item by item, as it
    # does of `mesh.vertices` and `mesh.loops` (400 times slower).
    flat: np.ndarray = np.empty(width * len(items), dtype)
    items.foreach_get(attribute, flat)
    return flat.reshape(-1, width)
